;; load: ok; call: trap
;; says: it trapped
;; Division by zero.
(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (drop (i32.div_u (i32.const 1) (i32.eqz (local.get $len))))))
    (i64.const 4398046511122)))
