//! Parameters of a query as clients tell it.

use percent_encoding::percent_decode_str;

/// The value of a parameter, decoded; none if it is empty.
pub(super) fn value(query: &str, name: &str) -> Option<String> {
    let pairs = query.trim_start_matches('?').split(['&', '?', ';']);
    let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name)?.1;
    let value = percent_decode_str(value).decode_utf8().ok()?.into_owned();
    Some(value).filter(|value| !value.is_empty())
}
