module pdp

go 1.24
