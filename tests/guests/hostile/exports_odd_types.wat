;; load: ok; call: pass
;; Other exports may have types that the host has no names for.
(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "blend") (param v128) (result v128) (local.get 0))
  (global (export "zeros") v128 (v128.const i32x4 0 0 0 0))
  (table (export "things") 1 externref)
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64) (i64.const 4398046511122)))
