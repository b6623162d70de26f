//! What callbacks are told: the fields of SRS's events, in its order. Whom they are told does not belong here.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::session::{Cid, Kind};

/// Whose event it is, with what SRS tells of it.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// Ours.
    pub(super) server: String,
    /// This run's.
    pub(super) service: String,
    pub(super) client: Cid,
    pub(super) ip: String,
    /// As configured.
    pub(super) vhost: String,
    pub(super) app: String,
    pub(super) stream: String,
    pub(super) param: String,
    pub(super) tc_url: String,
    pub(super) page_url: String,
    /// The key of the stream as text.
    pub(super) stream_url: String,
    /// Kept, so that the stream gets the id that is told of it.
    pub(super) stream_id: Arc<str>,
    /// Whose trace it belongs to; a header of the request.
    pub(super) traceparent: Arc<str>,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// An RTMP client is known as publisher or player.
    Connect,
    /// Its connection has ended.
    Close,
    /// It wants to publish.
    Publish,
    /// It has ended to publish.
    Unpublish,
    /// It wants to play.
    Play,
    /// It has ended to play.
    Stop,
    /// A segment of it is complete.
    Hls,
    /// The same, for a network that fetches it.
    HlsNotify,
    /// It wants to publish, and a service names who gets copies.
    Forward,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::Close,
        Self::Publish,
        Self::Unpublish,
        Self::Play,
        Self::Stop,
        Self::Hls,
        Self::HlsNotify,
        Self::Forward,
    ];

    /// SRS's word, which is the directive's, too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::Close => "on_close",
            Self::Publish => "on_publish",
            Self::Unpublish => "on_unpublish",
            Self::Play => "on_play",
            Self::Stop => "on_stop",
            Self::Hls => "on_hls",
            Self::HlsNotify => "on_hls_notify",
            Self::Forward => "on_forward",
        }
    }

    /// What a client of this kind asks for.
    pub(super) fn begin(kind: Kind) -> Self {
        if kind.is_publish() { Self::Publish } else { Self::Play }
    }

    /// What follows when it ends.
    pub(super) fn end(self) -> Self {
        match self {
            Self::Connect => Self::Close,
            Self::Publish => Self::Unpublish,
            Self::Play => Self::Stop,
            other => other,
        }
    }
}

/// A segment that is complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Seconds.
    pub duration: f64,
    /// Its file; relative ones are below the working directory.
    pub file: String,
    /// Its address below the web root.
    pub url: String,
    /// The file of the playlist.
    pub m3u8: String,
    /// The address of the playlist.
    pub m3u8_url: String,
    /// Its number.
    pub sequence: u64,
}

/// The body of a callback.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub(super) action: Action,
    pub(super) subject: &'a Subject,
    /// Bytes sent and received; of [`Action::Close`].
    pub(super) bytes: (u64, u64),
    pub(super) segment: Option<&'a Segment>,
}

impl Body<'_> {
    /// As JSON.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Field after field; their order is SRS's.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        let s = self.subject;
        let text = |text: &str| Value::from(text);
        let stream = ("stream", text(&s.stream));
        let param = ("param", text(&s.param));
        let tc_url = ("tcUrl", text(&s.tc_url));
        let page_url = ("pageUrl", text(&s.page_url));
        let mut fields = vec![
            ("server_id", text(&s.server)),
            ("service_id", text(&s.service)),
            ("action", text(self.action.name())),
            ("client_id", text(s.client.as_str())),
            ("ip", text(&s.ip)),
            ("vhost", text(&s.vhost)),
            ("app", text(&s.app)),
        ];
        match self.action {
            Action::Connect => fields.extend([stream, param, tc_url, page_url]),
            Action::Close => {
                let (sent, received) = self.bytes;
                fields.extend([("send_bytes", json!(sent)), ("recv_bytes", json!(received))]);
            }
            Action::Play => fields.extend([stream, tc_url, param, page_url]),
            _ => fields.extend([tc_url, stream, param]),
        }
        if let Some(segment) = self.segment {
            let cwd = std::env::current_dir().unwrap_or_default();
            fields.extend([
                ("duration", json!((segment.duration * 100.0).round() / 100.0)),
                ("cwd", text(&cwd.to_string_lossy())),
                ("file", text(&segment.file)),
                ("url", text(&segment.url)),
                ("m3u8", text(&segment.m3u8)),
                ("m3u8_url", text(&segment.m3u8_url)),
                ("seq_no", json!(segment.sequence)),
            ]);
        }
        if self.action == Action::Forward {
            // The one that begins in another way.
            fields.swap(0, 2);
            fields.swap(1, 2);
        } else if !matches!(self.action, Action::Connect | Action::Close) {
            fields.push(("stream_url", text(&s.stream_url)));
            if !s.stream_id.is_empty() {
                fields.push(("stream_id", text(&s.stream_id)));
            }
        }
        fields
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.fields() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            server: "vid-3k81z07".into(),
            service: "7t2m90a4".into(),
            client: "4h20x9k1".parse().unwrap(),
            ip: "198.51.100.7".into(),
            vhost: "__defaultVhost__".into(),
            app: "site".into(),
            stream: "cam1".into(),
            param: "?token=abc".into(),
            tc_url: "rtmp://media.example.net/site".into(),
            page_url: "p".into(),
            stream_url: "/site/cam1".into(),
            stream_id: "vid-9a02c51".into(),
            traceparent: "".into(),
        }
    }

    #[test]
    fn bodies_have_srs_s_fields_in_its_order() {
        let subject = subject();
        let segment = Segment {
            duration: 6.0391,
            file: "./a-27.ts".into(),
            url: "a-27.ts".into(),
            m3u8: "./a.m3u8".into(),
            m3u8_url: "a.m3u8".into(),
            sequence: 27,
        };
        let begins = "server_id service_id action client_id ip vhost app";
        for (action, rest) in [
            (Action::Connect, "stream param tcUrl pageUrl"),
            (Action::Close, "send_bytes recv_bytes"),
            (Action::Publish, "tcUrl stream param stream_url stream_id"),
            (Action::Unpublish, "tcUrl stream param stream_url stream_id"),
            (Action::Play, "stream tcUrl param pageUrl stream_url stream_id"),
            (Action::Stop, "tcUrl stream param stream_url stream_id"),
            (
                Action::Hls,
                "tcUrl stream param duration cwd file url m3u8 m3u8_url seq_no stream_url stream_id",
            ),
        ] {
            let segment = (action == Action::Hls).then_some(&segment);
            let text = Body { action, subject: &subject, bytes: (5120, 881_204), segment }.json();
            let body: Value = serde_json::from_str(&text).unwrap();
            let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names.join(" "), format!("{begins} {rest}"), "{text}");
            assert_eq!(body["action"], action.name());
            assert_eq!(body["ip"], "198.51.100.7");
            if action == Action::Hls {
                assert_eq!((&body["duration"], &body["seq_no"]), (&json!(6.04), &json!(27)));
            }
        }
    }

    #[test]
    fn the_question_for_destinations_has_fields_of_its_own() {
        let subject = subject();
        let body = Body { action: Action::Forward, subject: &subject, bytes: (0, 0), segment: None };
        let want = r#"{"action":"on_forward","server_id":"vid-3k81z07","service_id":"7t2m90a4","client_id":"4h20x9k1","ip":"198.51.100.7","vhost":"__defaultVhost__","app":"site","tcUrl":"rtmp://media.example.net/site","stream":"cam1","param":"?token=abc"}"#;
        assert_eq!(body.json(), want);
    }
}
