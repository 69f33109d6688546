;; load: ok; call: pass
;; The reply lies in memory that the hook has only just grown.
(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (drop (memory.grow (i32.const 1)))
      (memory.copy (i32.const 65536) (i32.const 1024) (i32.const 18))
      (return (i64.const 0x1000000000012))))
    (i64.const 4398046511122)))
