// Keeps the page as it is on the box: one event stream, and a few live pictures.
// Everything shown is markup that the server made; this file only puts it in place.

// A browser opens six connections to a host. One is the stream, two stay free.
const MOST_LIVE = 3;
const RETRY_LIVE_MS = 10_000;

const main = document.getElementById("main");
const lost = document.getElementById("lost");

let stream = null;
let lastHeard = Date.now();
const brokenUntil = new Map();

/** Make `old` like `fresh` with as few changes as possible: focus and pictures stay. */
function morph(old, fresh) {
  const ours = [...old.childNodes];
  const theirs = [...fresh.childNodes];
  theirs.forEach((wanted, i) => {
    const node = ours[i];
    if (!node) {
      old.append(wanted);
    } else if (!alike(node, wanted)) {
      node.replaceWith(wanted);
    } else if (node.nodeType === Node.ELEMENT_NODE) {
      syncAttributes(node, wanted);
      morph(node, wanted);
    } else if (node.data !== wanted.data) {
      node.data = wanted.data;
    }
  });
  ours.slice(theirs.length).forEach((node) => node.remove());
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName
    && a.dataset?.key === b.dataset?.key && a.id === b.id;
}

function syncAttributes(node, wanted) {
  for (const { name, value } of [...wanted.attributes]) {
    // which picture an image shows is decided in `previews`
    if (name === "src" && node.dataset.live) continue;
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  for (const { name } of [...node.attributes]) {
    if (!wanted.hasAttribute(name)) node.removeAttribute(name);
  }
}

function inSight(image) {
  const box = image.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}

/** Live pictures for the first few in sight, the newest still picture for the others. */
function previews() {
  let room = document.hidden ? 0 : MOST_LIVE;
  for (const image of document.querySelectorAll("img[data-live]")) {
    const { live, still, shown } = image.dataset;
    const broken = Date.now() < (brokenUntil.get(live) ?? 0);
    const wantsLive = room > 0 && !broken && inSight(image);
    if (wantsLive) room -= 1;
    show(image, wantsLive ? live : `${still}?${encodeURIComponent(shown)}`);
  }
}

function show(image, address) {
  if (image.getAttribute("src") === address) return;
  image.onerror = () => {
    brokenUntil.set(image.dataset.live, Date.now() + RETRY_LIVE_MS);
    image.onerror = null;
  };
  image.setAttribute("src", address);
}

function listen() {
  stream = new EventSource("/v1/stream?page");
  stream.addEventListener("status", (event) => {
    lastHeard = Date.now();
    const fresh = new DOMParser().parseFromString(JSON.parse(event.data).main, "text/html").body;
    morph(main, fresh);
    previews();
  });
  stream.onerror = () => {
    // a closed stream does not come back by itself: signed out, or all streams are taken
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  };
}

function pause() {
  stream?.close();
  stream = null;
  previews();
}

function resume() {
  lastHeard = Date.now();
  if (!stream) listen();
  previews();
}

/** Say when nothing was heard for a while: what is shown is old then. */
function checkConnection() {
  const seconds = Math.round((Date.now() - lastHeard) / 1000);
  const cut = Boolean(stream) && seconds >= 4;
  lost.hidden = !cut;
  document.body.classList.toggle("cut", cut);
  if (cut) lost.textContent = `No connection to the box for ${seconds} s. What you see is that old.`;
}

document.addEventListener("visibilitychange", () => (document.hidden ? pause() : resume()));
addEventListener("scroll", previews, { passive: true });
setInterval(checkConnection, 1000);
resume();
