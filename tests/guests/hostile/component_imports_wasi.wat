;; load: load; call: -
;; says: `wasi:clocks/monotonic-clock@0.2.0`
;; Imports from WASI.
(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result u64))))))
