//! Who a span is to others: the trace that it belongs to, and its own name (W3C Trace Context).

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    trace: u128,
    span: u64,
}

impl Context {
    /// A trace that begins here.
    pub fn random() -> Self {
        // Names of zeros are none.
        Self { trace: fastrand::u128(1..), span: fastrand::u64(1..) }
    }

    /// Another span of the same trace.
    pub fn child(self) -> Self {
        Self { span: fastrand::u64(1..), ..self }
    }

    /// The trace, in hexadecimal digits.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The span, in hexadecimal digits.
    pub fn span_id(self) -> String {
        format!("{:016x}", self.span)
    }

    /// What a request carries in its header `traceparent`; `sampled` says whether the spans are recorded here.
    pub fn traceparent(self, sampled: bool) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(sampled))
    }

    /// Whether the trace is one of this share of all, 0 to 1; the same wherever it is asked, since the name decides.
    pub fn is_among(self, share: f64) -> bool {
        // As OpenTelemetry's samplers do it: by the low 63 bits.
        let place = (self.trace as u64 >> 1) as f64 / (1u64 << 63) as f64;
        place < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_their_form() {
        let context = Context { trace: 0xab, span: 0xc };
        let want = "00-000000000000000000000000000000ab-000000000000000c-01";
        assert_eq!(context.traceparent(true), want);
        assert!(context.traceparent(false).ends_with("-00"));
        let child = Context::random().child();
        assert_eq!((child.trace_id().len(), child.span_id().len()), (32, 16));
    }

    #[test]
    fn a_share_is_a_share() {
        let all: Vec<_> = (0..4000).map(|_| Context::random()).collect();
        let among = |share| all.iter().filter(|context| context.is_among(share)).count();
        assert_eq!((among(0.0), among(1.0)), (0, 4000));
        assert!((800..1200).contains(&among(0.25)), "{}", among(0.25));
    }
}
