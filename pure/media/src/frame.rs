//! The frame: what moves.

use bytes::Bytes;

use crate::{Micros, TrackId};

/// One access unit of one track. The payload is canonical: H.264/H.265 as NAL units with 4-byte lengths (parameter
/// sets live in the [`crate::Track`]); AV1 as low-overhead OBUs; audio as one raw frame without ADTS;
/// data as one AMF0 message body. It is shared by reference count and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which track it belongs to.
    pub track: TrackId,
    /// Decoding time.
    pub dts: Micros,
    /// Presentation time; equals `dts` where there is no reordering.
    pub pts: Micros,
    /// A decoder can start here. True for every audio frame of codecs without inter-frame state.
    pub key: bool,
    /// The payload.
    pub data: Bytes,
}
