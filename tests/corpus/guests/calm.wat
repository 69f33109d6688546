;; States that every call has the risk 10.
(module
  (memory (export "memory") 4)
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param i32) (result i32) (i32.const 131072))
  (data (i32.const 1024) "{\22verdict\22:\22pass\22,\22annotations\22:{\22risk\22:10}}")
  (func (export "pdp_on_request") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const 44))))
