module egress_guard

go 1.24

require pdp v0.0.0

replace pdp => ../../../sdk/go
