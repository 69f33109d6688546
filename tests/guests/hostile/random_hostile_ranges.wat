;; load: ok; call: pass
;; grants: random
;; Wants random bytes in ranges that are not in memory; each has to be answered with 1.
(module
  (import "pdp" "random" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (if (i32.ne (call $random (i32.const 65536) (i32.const 1)) (i32.const 1)) (then (unreachable)))
      (if (i32.ne (call $random (i32.const 65535) (i32.const 2)) (i32.const 1)) (then (unreachable)))
      (if (i32.ne (call $random (i32.const -1) (i32.const -1)) (i32.const 1)) (then (unreachable)))
      (if (i32.ne (call $random (i32.const 0) (i32.const -1)) (i32.const 1)) (then (unreachable)))
      (if (i32.ne (call $random (i32.const -1) (i32.const 1)) (i32.const 1)) (then (unreachable)))
      (if (i32.ne (call $random (i32.const 0) (i32.const 65537)) (i32.const 1)) (then (unreachable)))
      (if (i32.ne (call $random (i32.const 2147483648) (i32.const 16)) (i32.const 1)) (then (unreachable)))
      (if (i32.ne (call $random (i32.const 1) (i32.const 65536)) (i32.const 1)) (then (unreachable)))))
    (i64.const 4398046511122)))
