;; load: ok; call: pass
;; Wants everything that WASI writes in places that are not in memory; 21 is EFAULT.
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $status (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (if (i32.ne
          (call $clock (i32.const 0) (i64.const 0) (i32.const 65529))
          (i32.const 21))
        (then (unreachable)))
      (if (i32.ne
          (call $clock (i32.const 1) (i64.const -1) (i32.const -1))
          (i32.const 21))
        (then (unreachable)))
      (if (i32.ne (call $random (i32.const 65536) (i32.const 1)) (i32.const 21)) (then (unreachable)))
      (if (i32.ne (call $sizes (i32.const -1) (i32.const 0)) (i32.const 21)) (then (unreachable)))
      (if (i32.ne (call $sizes (i32.const 0) (i32.const 65533)) (i32.const 21)) (then (unreachable)))
      (if (i32.ne (call $status (i32.const 1) (i32.const 65513)) (i32.const 21)) (then (unreachable)))))
    (i64.const 4398046511122)))
