;; load: ok; call: pass
;; Looks for files, directories, arguments and sockets: there are none.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (if (i32.ne (call $prestat (i32.const 3) (i32.const 0)) (i32.const 8)) (then (unreachable)))
      (if (i32.ne
          (call $open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 10) (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 8))
          (i32.const 52))
        (then (unreachable)))
      (if (i32.ne
          (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
          (i32.const 52))
        (then (unreachable)))
      (if (i32.ne
          (call $accept (i32.const 0) (i32.const 0) (i32.const 8))
          (i32.const 52))
        (then (unreachable)))
      (i32.store (i32.const 0) (i32.const -1))
      (if (i32.ne (call $environ (i32.const 0) (i32.const 4)) (i32.const 0)) (then (unreachable)))
      (if (i32.ne (i32.load (i32.const 0)) (i32.const 0)) (then (unreachable)))))
    (i64.const 4398046511122)))
