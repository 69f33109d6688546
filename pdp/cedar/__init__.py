"""The decision core: pure functions and values around Cedar. No I/O, no clock, no logging, no protobuf."""
