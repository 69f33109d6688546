;; load: ok; call: pass
;; with: call_ms=10000
;; Wants to sleep for a day: there is no such function (52 is ENOSYS), and it comes back at once.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (i64.store offset=24 (i32.const 0) (i64.const 86400000000000))
      (if (i32.ne
          (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))
          (i32.const 52))
        (then (unreachable)))))
    (i64.const 4398046511122)))
