"""CloudEvents 1.0 on the wire: JSON format, HTTP, MQTT, webhook handshake. No input or output."""
