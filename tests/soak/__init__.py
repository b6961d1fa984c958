"""The real process over the sandbox's TLS ports for many virtual hours, with faults and kill -9: `make soak`."""
