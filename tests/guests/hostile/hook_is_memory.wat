;; load: load; call: -
;; says: no function
;; The hook is the memory.
(module
  (memory (export "memory") (export "pdp_on_request") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096)))
