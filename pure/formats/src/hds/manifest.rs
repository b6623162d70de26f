//! The manifest: where a player finds the bootstrap and the fragments.

/// The manifest of a live stream called `id`, whose bootstrap and fragments lie beside it. `file` is the name that both begin with, as it
/// stands in a URI already.
pub fn manifest(id: &str, file: &str) -> String {
    let (id, file) = (escaped(id), escaped(file));
    format!(
        concat!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n",
            "<manifest xmlns=\"http://ns.adobe.com/f4m/1.0\">\n",
            "  <id>{id}</id>\n",
            "  <streamType>live</streamType>\n",
            "  <deliveryType>streaming</deliveryType>\n",
            "  <bootstrapInfo profile=\"named\" url=\"{file}.abst\" id=\"bootstrap\"/>\n",
            "  <media bitrate=\"0\" url=\"{file}\" bootstrapInfoId=\"bootstrap\"/>\n",
            "</manifest>\n",
        ),
        id = id,
        file = file,
    )
}

/// As the text of an element and as the value of an attribute (XML 1.0 §2.4). Control characters cannot stand in XML at all.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_document() {
        let text = manifest("a<b>&\"c\n", "a%3Cb&");
        assert!(text.contains("<id>a&lt;b&gt;&amp;&quot;c</id>"), "{text}");
        assert!(
            text.contains(" url=\"a%3Cb&amp;.abst\" ") && text.contains(" url=\"a%3Cb&amp;\" "),
            "{text}"
        );
    }
}
