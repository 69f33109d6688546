;; load: guest_error; call: -
;; says: the key `paths` is missing
;; The configuration is refused, with a reason.
(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (data (i32.const 2048) "{\22error\22:\22the key `paths` is missing\22}")
  (func (export "pdp_configure") (param i32 i32) (result i64) (i64.const 0x80000000026))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64) (i64.const 4398046511122)))
