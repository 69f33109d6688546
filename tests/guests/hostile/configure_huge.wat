;; load: too_large; call: -
;; The answer is longer than any that makes sense.
(module
  (memory (export "memory") 2)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_configure") (param i32 i32) (result i64) (i64.const 0x10000010001))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64) (i64.const 4398046511122)))
