;; load: load; call: -
;; says: does not compile
;; Instructions whose results depend on the processor.
(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64) (i64.const 4398046511122)))
