;; load: ok; call: pass
;; Writes to descriptors that are not there; 8 is EBADF.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (if (i32.ne
          (call $write (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8))
          (i32.const 8))
        (then (unreachable)))
      (if (i32.ne
          (call $write (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8))
          (i32.const 8))
        (then (unreachable)))
      (if (i32.ne
          (call $write (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 8))
          (i32.const 8))
        (then (unreachable)))
      (if (i32.ne
          (call $write (i32.const 2147483647) (i32.const 0) (i32.const 0) (i32.const 8))
          (i32.const 8))
        (then (unreachable)))))
    (i64.const 4398046511122)))
