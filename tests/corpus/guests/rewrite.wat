;; Gives every call the same path, and every result the same text.
(module
  (memory (export "memory") 4)
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param i32) (result i32) (i32.const 131072))
  (data (i32.const 1024) "{\22verdict\22:\22transform\22,\22arguments\22:{\22path\22:\22/srv/safe\22}}")
  (func (export "pdp_on_request") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const 56)))
  (data (i32.const 2048) "{\22verdict\22:\22transform\22,\22result\22:{\22content\22:[{\22type\22:\22text\22,\22text\22:\22removed\22}]}}")
  (func (export "pdp_on_response") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 2048) (i64.const 32)) (i64.const 79))))
