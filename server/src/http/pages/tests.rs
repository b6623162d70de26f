//! Pages as clients get them, with the files of `sample/` in the program.

use axum::body::to_bytes;

use super::*;

async fn ask(path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Bytes) {
    let Found::Page(page) = find(path) else { panic!("{path} is not there") };
    let mut request = Request::builder().uri(format!("/{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = page.answer(&request.body(()).unwrap()).into_parts();
    (parts.status.as_u16(), parts.headers, to_bytes(body, 1 << 20).await.unwrap())
}

#[tokio::test]
async fn a_page_has_its_type_and_is_asked_for_again() {
    let (status, headers, body) = ask("players/srs_player.html", &[]).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (200, &HeaderValue::from_static("text/html; charset=utf-8"))
    );
    assert_eq!(
        (&headers["cache-control"], &headers["vary"]),
        (&"no-cache".parse().unwrap(), &"Accept-Encoding".parse().unwrap())
    );
    assert!(!headers.contains_key("content-encoding"));
    assert_eq!(headers["content-length"], body.len().to_string());
    assert!(body.starts_with(b"<!doctype html>"));
    assert_eq!(ask("assets/x.js", &[]).await.1["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(ask("players/", &[]).await.0, 200, "the index of a folder");
}

#[tokio::test]
async fn compressed_for_those_who_take_it() {
    let (_, plain, _) = ask("players/srs_player.html", &[]).await;
    for accepts in ["gzip, deflate, br", "br, GZIP;q=0.5"] {
        let (status, headers, body) = ask("players/srs_player.html", &[("accept-encoding", accepts)]).await;
        assert_eq!(
            (status, &headers["content-encoding"]),
            (200, &HeaderValue::from_static("gzip")),
            "{accepts}"
        );
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(headers["content-length"], body.len().to_string());
        assert!(body.starts_with(&[0x1f, 0x8b]));
        assert_ne!(headers["etag"], plain["etag"], "other bytes have another tag");
    }
    for accepts in ["br", "gzip;q=0", "xgzip"] {
        let (_, headers, _) = ask("players/srs_player.html", &[("accept-encoding", accepts)]).await;
        assert!(!headers.contains_key("content-encoding"), "{accepts}");
    }
    let (status, headers, _) = ask("assets/x.js", &[("accept-encoding", "gzip")]).await;
    assert_eq!((status, headers.get("content-encoding")), (200, None), "it has no compressed form");
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let tag = ask("assets/x.js", &[]).await.1["etag"].to_str().unwrap().to_owned();
    for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let (status, headers, body) = ask("assets/x.js", &[("if-none-match", &known)]).await;
        assert_eq!((status, body.len()), (304, 0), "{known}");
        assert_eq!(headers["etag"], tag);
    }
    assert_eq!(ask("assets/x.js", &[("if-none-match", "\"other\"")]).await.0, 200);
}

#[test]
fn what_is_no_page() {
    assert!(matches!(find("players"), Found::Folder));
    for absent in [
        "",
        "none",
        "players/none.html",
        "players/srs_player.html/",
        "players/srs_player.html.gz",
        "../Cargo.toml",
    ] {
        assert!(matches!(find(absent), Found::Neither), "{absent}");
    }
}
