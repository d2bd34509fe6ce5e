"""One adaptor a model family: its own outputs in, boxes and scores out, inside the graph."""
