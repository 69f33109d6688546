;; load: ok; call: pass
;; grants: random now_ms
;; Random bytes change memory and nothing beside them, and the time is later than 2020.
(module
  (import "pdp" "random" (func $random (param i32 i32) (result i32)))
  (import "pdp" "now_ms" (func $now (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (if (call $random (i32.const 16) (i32.const 32)) (then (unreachable)))
      (if (i64.eqz (i64.or (i64.load (i32.const 16)) (i64.load (i32.const 40)))) (then (unreachable)))
      (if (i32.wrap_i64 (i64.or (i64.load (i32.const 8)) (i64.load (i32.const 48)))) (then (unreachable)))
      (if (call $random (i32.const 0) (i32.const 0)) (then (unreachable)))
      (if (i64.lt_s (call $now) (i64.const 1577836800000)) (then (unreachable)))))
    (i64.const 4398046511122)))
