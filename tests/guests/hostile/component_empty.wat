;; load: load; call: -
;; says: `describe`
;; Has nothing at all.
(component)
