;; load: trap; call: -
;; says: status 3
;; Ends itself in the configuration.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_configure") (param i32 i32) (result i64) (call $exit (i32.const 3)) (i64.const 0))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64) (i64.const 4398046511122)))
