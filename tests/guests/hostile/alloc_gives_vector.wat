;; load: load; call: -
;; says: v128
;; The allocator gives a vector.
(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param i32) (result v128) (v128.const i32x4 0 0 0 0))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64) (i64.const 4398046511122)))
