;; Every result becomes the same one.
(module
  (memory (export "memory") 4)
  (data (i32.const 1024) "{\22verdict\22:\22transform\22,\22result\22:{\22content\22:[{\22type\22:\22text\22,\22text\22:\22\e2\96\87\e2\96\87\e2\96\87\22}]}}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param i32) (result i32) (i32.const 131072))
  ;; Where the answer is, in the upper half, and its length.
  (func (export "pdp_on_response") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const 81))))
