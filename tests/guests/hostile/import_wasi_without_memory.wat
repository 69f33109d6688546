;; load: load; call: -
;; says: no memory called `memory`
;; A module for WASI that exports no memory for the host to write to.
(module
  (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
  (memory 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64) (i64.const 4398046511122)))
