;; load: ok; call: pass
;; Logs bytes that are no UTF-8.
(module
  (import "pdp" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (memory.fill (i32.const 0) (i32.const 0xff) (i32.const 100))
      (call $log (i32.const 3) (i32.const 0) (i32.const 100))))
    (i64.const 4398046511122)))
