//! The command line of ffmpeg for an engine, in SRS's order (reference: config `transcode`, `ingest`). What the words mean is ffmpeg's business.

use std::path::Path;

use crate::config::task::{Engine, Flag, Input};

/// What ffmpeg reads.
pub(super) enum Source<'a> {
    /// A stream of this server, for a transcoder.
    Stream(&'a str),
    /// An input that is pulled.
    Pulled {
        /// `-loglevel`.
        level: &'a str,
        /// What it is.
        kind: Input,
        /// Path or address.
        url: &'a str,
        /// It begins again at its end.
        loops: bool,
    },
}

/// The words, with the program first.
pub(super) fn words(program: &Path, engine: &Engine, source: &Source<'_>, output: &str) -> Vec<String> {
    let mut words = vec![program.to_string_lossy().into_owned()];
    let url = match source {
        Source::Stream(url) => *url,
        Source::Pulled { level, kind, url, loops } => {
            say(&mut words, &["-loglevel", level, "-re"]);
            // What is not a file cannot be wound back.
            if *loops && (*kind == Input::List || *kind == Input::File && !is_address(url)) {
                say(&mut words, &["-stream_loop", "-1"]);
            }
            url
        }
    };
    add(&mut words, &engine.perfile);
    match source {
        Source::Pulled { kind: Input::List, .. } => say(&mut words, &["-f", "concat", "-safe", "0"]),
        // A format is told for RTMP alone, since `flv` is the default.
        _ if url.starts_with("rtmp://") => option(&mut words, "-f", engine.iformat.as_deref()),
        _ => {}
    }
    say(&mut words, &["-i", url]);
    add(&mut words, &engine.vfilter);
    video(&mut words, engine);
    audio(&mut words, engine);
    option(&mut words, "-f", engine.oformat.as_deref());
    say(&mut words, &["-y", output]);
    words
}

fn video(words: &mut Vec<String>, engine: &Engine) {
    if engine.vcodec == "vn" {
        return say(words, &["-vn"]);
    }
    say(words, &["-vcodec", &engine.vcodec]);
    if engine.vcodec == "copy" {
        return;
    }
    let (width, height) = (engine.vwidth, engine.vheight);
    let sized = width > 0 && height > 0;
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let number = |number: u32| (number > 0).then(|| number.to_string());
    let said = [
        ("-b:v", number(engine.vbitrate).map(|kbit| kbit + "000")),
        ("-r", (engine.vfps > 0.0).then(|| engine.vfps.to_string())),
        ("-s", sized.then(|| format!("{width}x{height}"))),
        ("-aspect", sized.then(|| format!("{width}:{height}"))),
        ("-threads", number(engine.vthreads)),
        ("-profile:v", some(&engine.vprofile)),
        ("-preset", some(&engine.vpreset)),
    ];
    said.iter().for_each(|(name, value)| option(words, name, value.as_deref()));
    add(words, &engine.vparams);
}

fn audio(words: &mut Vec<String>, engine: &Engine) {
    if engine.acodec == "an" {
        return say(words, &["-an"]);
    }
    say(words, &["-acodec", &engine.acodec]);
    if engine.acodec == "copy" {
        // The one filter that AAC without encoding may need.
        let is_filter = |(name, value): &&Flag| name == "-bsf:a" && value.as_deref() == Some("aac_adtstoasc");
        engine.aparams.iter().filter(is_filter).for_each(|flag| add(words, std::slice::from_ref(flag)));
        return;
    }
    let number = |number: u32| (number > 0).then(|| number.to_string());
    option(words, "-b:a", number(engine.abitrate).map(|kbit| kbit + "000").as_deref());
    option(words, "-ar", number(engine.asample_rate).as_deref());
    option(words, "-ac", number(engine.achannels).as_deref());
    add(words, &engine.aparams);
}

/// Not a path: `rtsp://…` and the like.
fn is_address(url: &str) -> bool {
    url.contains("://") && !url.starts_with("file:")
}

fn say(words: &mut Vec<String>, more: &[&str]) {
    words.extend(more.iter().map(|&word| word.to_owned()));
}

fn option(words: &mut Vec<String>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        say(words, &[name, value]);
    }
}

fn add(words: &mut Vec<String>, flags: &[Flag]) {
    for (name, value) in flags {
        words.push(name.clone());
        words.extend(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    const IN: &str = "rtmp://127.0.0.1:1935/live?vhost=v/a";

    fn load(vhost: &str) -> std::sync::Arc<crate::config::Vhost> {
        let text = format!("listen 1935; vhost v {{ {vhost} }}");
        Config::parse("test", text.as_bytes(), &Environment::default()).unwrap().vhosts[0].clone()
    }

    /// The command line of an engine of a transcoder.
    fn line(engine: &str) -> String {
        let vhost = load(&format!(
            "transcode {{ enabled on; ffmpeg ff; engine e {{ enabled on; {engine} output out; }} }}"
        ));
        let transcode = &vhost.transcodes[0];
        words(&transcode.ffmpeg, &transcode.engines[0], &Source::Stream(IN), "out").join(" ")
    }

    /// That of an ingest.
    fn pulled(ingest: &str) -> String {
        let vhost = load(&format!("ingest i {{ enabled on; ffmpeg ff; {ingest} }}"));
        let ingest = &vhost.ingests[0];
        let (kind, url, loops) = (ingest.input, &*ingest.url, ingest.loops);
        let source = Source::Pulled { level: "info", kind, url, loops };
        words(&ingest.ffmpeg, &ingest.engines[0], &source, "out").join(" ")
    }

    #[test]
    fn each_directive_says_what_the_reference_says() {
        let encode = "vcodec libx265; acodec aac;";
        let (head, tail) = (format!("ff -f flv -i {IN}"), "-f flv -y out");
        for (directive, video, audio) in [
            ("", "-threads 1", ""),
            ("vbitrate 1200;", "-b:v 1200000 -threads 1", ""),
            ("vfps 25;", "-r 25 -threads 1", ""),
            ("vfps 29.97;", "-r 29.97 -threads 1", ""),
            ("vwidth 855; vheight 480;", "-s 854x480 -aspect 854:480 -threads 1", ""),
            ("vwidth 854;", "-threads 1", ""),
            ("vthreads 0;", "", ""),
            ("vthreads 4;", "-threads 4", ""),
            ("vprofile main;", "-threads 1 -profile:v main", ""),
            ("vpreset medium;", "-threads 1 -preset medium", ""),
            (
                "vparams { t 100; coder 1; b_strategy 2; bf 3; refs 10; -g 50; }",
                "-threads 1 -t 100 -coder 1 -b_strategy 2 -bf 3 -refs 10 -g 50",
                "",
            ),
            ("vparams { an; x 1 2; }", "-threads 1 -an -x 1", ""),
            ("abitrate 70;", "-threads 1", "-b:a 70000"),
            ("asample_rate 44100;", "-threads 1", "-ar 44100"),
            ("achannels 2;", "-threads 1", "-ac 2"),
            (
                "aparams { profile:a aac_low; bsf:a aac_adtstoasc; }",
                "-threads 1",
                "-profile:a aac_low -bsf:a aac_adtstoasc",
            ),
        ] {
            let words = [&*head, "-vcodec libx265", video, "-acodec aac", audio, tail];
            let want = words.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
            assert_eq!(line(&format!("{encode} {directive}")), want, "{directive}");
        }
    }

    #[test]
    fn inputs_and_formats_too() {
        for (engine, want) in [
            (
                "vcodec copy; acodec copy;",
                format!("ff -f flv -i {IN} -vcodec copy -acodec copy -f flv -y out"),
            ),
            (
                "iformat off; vcodec copy; acodec copy;",
                format!("ff -i {IN} -vcodec copy -acodec copy -f flv -y out"),
            ),
            (
                "oformat off; vcodec copy; acodec copy;",
                format!("ff -f flv -i {IN} -vcodec copy -acodec copy -y out"),
            ),
            (
                "vcodec vn; acodec libmp3lame;",
                format!("ff -f flv -i {IN} -vn -acodec libmp3lame -f flv -y out"),
            ),
            (
                "vcodec png; vparams { vframes 6; } acodec an; oformat image2;",
                format!("ff -f flv -i {IN} -vcodec png -threads 1 -vframes 6 -an -f image2 -y out"),
            ),
            (
                "perfile { re; rtsp_transport tcp; } vfilter { i ./logo.png; filter_complex 'overlay=10:10'; } vcodec copy; acodec copy;",
                format!(
                    "ff -re -rtsp_transport tcp -f flv -i {IN} -i ./logo.png -filter_complex overlay=10:10 -vcodec copy -acodec copy -f flv -y out"
                ),
            ),
            // Nothing that belongs to an encoder where none is at work.
            (
                "vcodec copy; vbitrate 10; vfps 5; vparams { g 1; } acodec copy; abitrate 9; aparams { profile:a x; bsf:a aac_adtstoasc; }",
                format!("ff -f flv -i {IN} -vcodec copy -acodec copy -bsf:a aac_adtstoasc -f flv -y out"),
            ),
        ] {
            assert_eq!(line(engine), want, "{engine}");
        }
    }

    #[test]
    fn what_is_pulled() {
        let copy = "-vcodec copy -acodec copy -f flv -y out";
        for (ingest, want) in [
            ("input { url a.flv; } engine { output o; }", format!("ff -loglevel info -re -stream_loop -1 -i a.flv {copy}")),
            (
                "input { url a.flv; loop off; } engine { output o; }",
                format!("ff -loglevel info -re -i a.flv {copy}"),
            ),
            ("input { url http://h/a.flv; } engine { output o; }", format!("ff -loglevel info -re -i http://h/a.flv {copy}")),
            (
                "input { type stream; url rtsp://h/a; } engine { perfile { rtsp_transport tcp; } output o; }",
                format!("ff -loglevel info -re -rtsp_transport tcp -i rtsp://h/a {copy}"),
            ),
            (
                "input { type stream; url rtmp://h/l/a; } engine { enabled on; vcodec copy; acodec copy; output o; }",
                format!("ff -loglevel info -re -f flv -i rtmp://h/l/a {copy}"),
            ),
            (
                "input { type list; url a.txt; } engine { enabled on; vcodec libx264; vprofile main; vpreset fast; acodec aac; oformat mpegts; output o; }",
                "ff -loglevel info -re -stream_loop -1 -f concat -safe 0 -i a.txt -vcodec libx264 -threads 1 -profile:v main -preset fast \
                 -acodec aac -f flv -y out"
                    .into(),
            ),
            // An engine that is off, or says not enough, copies.
            ("input { url a.flv; loop off; } engine { vcodec libx265; acodec aac; output o; }", format!("ff -loglevel info -re -i a.flv {copy}")),
            ("input { url a.flv; loop off; } engine { enabled on; vcodec libx265; output o; }", format!("ff -loglevel info -re -i a.flv {copy}")),
        ] {
            assert_eq!(pulled(ingest), want, "{ingest}");
        }
    }

    #[test]
    fn what_no_ffmpeg_could_do_is_refused() {
        let refused = |vhost: &str| {
            let text = format!("listen 1935; vhost v {{ {vhost} }}");
            Config::parse("test", text.as_bytes(), &Environment::default()).unwrap_err().to_string()
        };
        for (engine, why) in [
            ("acodec aac; output o;", "`vcodec` is missing"),
            ("vcodec copy; output o;", "`acodec` is missing"),
            ("vcodec vn; acodec an; output o;", "leave nothing"),
            ("vcodec libx264; vpreset fast; acodec an; output o;", "needs `vprofile`"),
            ("vcodec libx264; vprofile main; acodec an; output o;", "needs `vprofile` and `vpreset`"),
            ("vcodec copy; acodec copy;", "no `output`"),
            ("vcodec 'x y'; acodec copy; output o;", "no name"),
            ("vcodec png; vbitrate -1; acodec copy; output o;", "less than 0"),
            ("vcodec png; vfps -1; acodec copy; output o;", "less than 0"),
            ("vcodec copy; acodec aac; achannels 3; output o;", "`achannels` may be"),
            ("vcodec copy; acodec libaacplus; abitrate 100; output o;", "16 to 72"),
        ] {
            let said =
                refused(&format!("transcode {{ enabled on; ffmpeg f; engine {{ enabled on; {engine} }} }}"));
            assert!(said.contains(why), "{engine}: {said}");
        }
        for (ingest, why) in [
            ("ingest { enabled on; input { url a; } engine { output o; } }", "needs `ffmpeg`"),
            ("ingest { enabled on; ffmpeg f; engine { output o; } }", "what to pull"),
            ("ingest { enabled on; ffmpeg f; input { url a; } }", "where to publish"),
            ("ingest { enabled on; ffmpeg f; input { url a; } engine { } }", "no `output`"),
            (
                "ingest { enabled on; ffmpeg f; input { type device; url a; } engine { output o; } }",
                "no kind of input",
            ),
            ("ingest a { } ingest a { }", "is there already"),
            ("ingest { } ingest { }", "is there already"),
            ("exec { enabled on; publish > x; }", "has no program"),
        ] {
            let said = refused(ingest);
            assert!(said.contains(why), "{ingest}: {said}");
        }
        // What is off is not judged.
        load("transcode { ffmpeg f; engine { enabled on; } } ingest { }");
    }
}
