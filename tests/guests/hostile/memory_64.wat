;; load: load; call: -
;; says: does not compile
;; The memory has addresses of 64 bits.
(module
  (memory (export "memory") i64 1)
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64) (i64.const 4398046511122)))
