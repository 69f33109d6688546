;; load: ok; call: pass
;; Writes a thousand vectors of all of its memory, which holds the vectors, and has the count written over them.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (loop
        (i32.store (i32.add (i32.const 16384) (local.get $ptr)) (i32.const 0))
        (i32.store offset=4 (i32.add (i32.const 16384) (local.get $ptr)) (i32.const 65536))
        (br_if 0 (i32.lt_u (local.tee $ptr (i32.add (local.get $ptr) (i32.const 8))) (i32.const 16384))))
      (if (i32.ne
          (call $write (i32.const 2) (i32.const 20480) (i32.const 1024) (i32.const 20480))
          (i32.const 0))
        (then (unreachable)))
      (if (i32.ne (i32.load (i32.const 20480)) (i32.const 67108864)) (then (unreachable)))))
    (i64.const 4398046511122)))
