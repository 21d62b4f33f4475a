"""Files of captured packets: pcap and pcapng, plain or gzipped."""

from rbops.capture.reader import Capture, read_capture

__all__ = ["Capture", "read_capture"]
