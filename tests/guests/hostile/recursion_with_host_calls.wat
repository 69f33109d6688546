;; load: ok; call: trap
;; with: fuel=1000000000
;; says: call stack exhausted
;; Calls the host on every level of a recursion, so also where next to no stack is left.
(module
  (import "pdp" "log" (func $log (param i32 i32 i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func $deeper (param i32) (result i32)
    (call $log (i32.const 0) (i32.const 1024) (i32.const 1))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 8)))
    (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (drop (call $deeper (i32.const 0)))))
    (i64.const 4398046511122)))
