//! How frames are boxed: AMF0 values and FLV tags. One module per container; nothing here does I/O.

pub mod amf0;
pub mod flv;
#[doc(hidden)]
pub mod fuzz;
