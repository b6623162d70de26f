//! Programs that the server starts: `ingest`, `transcode`, `exec`. What no ffmpeg could run is refused here, where SRS refuses the publisher.

use std::collections::HashSet;
use std::path::Path;

use super::{Block, Reader};
use crate::config::report::Problem;
use crate::config::task::{Command, Engine, Exec, Flag, Ingest, Input, TaskLog, Transcode};
use crate::config::tree::Node;
use crate::config::value;

/// A log has room for what an ffmpeg says at its start.
const LEAST_LOG: u64 = 64 << 10;

/// SRS's word for no log at all.
const NOWHERE: &str = "/dev/null";

impl<'a> Reader<'a> {
    pub(super) fn task_log(&mut self, top: Block<'a>) -> TaskLog {
        let size = self.value(top, "ff_log_max_size");
        let max_size = value::size(size.text()).unwrap_or_else(|| {
            let problem = size.problem(self.files, 0, format!("`{}` is no size", size.text()));
            self.problems.push(
                problem.help("write bytes, or a number with `k`, `m` or `g` behind it; 0 for no limit"),
            );
            0
        });
        TaskLog {
            dir: Some(self.path(top, "ff_log_dir")).filter(|dir| dir != Path::new(NOWHERE)),
            level: self.text(top, "ff_log_level"),
            max_size: if max_size == 0 { 0 } else { max_size.max(LEAST_LOG) },
        }
    }

    pub(super) fn transcodes(&mut self, vhost: Block<'a>) -> Vec<Transcode> {
        let blocks: Vec<_> = blocks(vhost, "transcode").collect();
        blocks.into_iter().filter_map(|(node, block)| self.transcode(node, block)).collect()
    }

    fn transcode(&mut self, node: &'a Node, block: Block<'a>) -> Option<Transcode> {
        if !self.switch(block, "enabled") {
            return None;
        }
        let ffmpeg = self.path(block, "ffmpeg");
        if ffmpeg.as_os_str().is_empty() {
            self.warn_at(node, "`transcode` without `ffmpeg` does nothing");
            return None;
        }
        let mut engines = Vec::new();
        for (node, block) in blocks(block, "engine").collect::<Vec<_>>() {
            if !self.switch(block, "enabled") {
                continue;
            }
            let engine = self.engine(node, block);
            self.check_engine(node, &engine);
            engines.push(engine);
        }
        if engines.is_empty() {
            self.warn_at(node, "`transcode` without an `engine` that is on does nothing");
            return None;
        }
        Some(Transcode { scope: name(node), ffmpeg, engines })
    }

    pub(super) fn ingests(&mut self, vhost: Block<'a>) -> Vec<Ingest> {
        let mut ids = HashSet::new();
        let mut ingests = Vec::new();
        for (node, block) in blocks(vhost, "ingest").collect::<Vec<_>>() {
            if !ids.insert(name(node)) {
                let problem = Problem::new(format!("`ingest {}` is there already", name(node)));
                let problem = problem.at(self.files.place(node.name.span));
                self.problems.push(problem.help("give each `ingest` of a vhost a name of its own"));
            }
            if self.switch(block, "enabled") {
                ingests.push(self.ingest(node, block));
            }
        }
        ingests
    }

    fn ingest(&mut self, node: &'a Node, block: Block<'a>) -> Ingest {
        let input = block.inner("input");
        let kind = self.value(input, "type");
        let ffmpeg = self.path(block, "ffmpeg");
        if ffmpeg.as_os_str().is_empty() {
            self.refuse(node, "`ingest` needs `ffmpeg`", "write `ffmpeg /usr/bin/ffmpeg;`");
        }
        let url = self.text(input, "url");
        if url.is_empty() {
            let help = "write `input { type file; url ./doc/source.flv; }`";
            self.refuse(node, "`ingest` does not say what to pull", help);
        }
        let mut engines = Vec::new();
        for (node, block) in blocks(block, "engine").collect::<Vec<_>>() {
            let mut engine = self.engine(node, block);
            let encodes = self.switch(block, "enabled");
            if !encodes || engine.vcodec.is_empty() || engine.acodec.is_empty() {
                (engine.vcodec, engine.acodec) = ("copy".into(), "copy".into());
            }
            engine.oformat = Some("flv".into());
            self.check_engine(node, &engine);
            engines.push(engine);
        }
        if engines.is_empty() {
            let help = "write `engine { output rtmp://127.0.0.1:[port]/live?vhost=[vhost]/livestream; }`";
            self.refuse(node, "`ingest` does not say where to publish", help);
        }
        Ingest {
            id: name(node),
            input: match kind.text() {
                "file" => Input::File,
                "stream" => Input::Stream,
                "list" => Input::List,
                other => {
                    let message = format!("`{other}` is no kind of input");
                    let problem = kind.problem(self.files, 0, message);
                    self.problems.push(problem.help("write `file`, `stream` or `list`"));
                    Input::File
                }
            },
            url,
            loops: self.switch(input, "loop"),
            ffmpeg,
            engines,
        }
    }

    fn engine(&mut self, node: &'a Node, block: Block<'a>) -> Engine {
        let format = |text: String| Some(text).filter(|text| text != "off" && !text.is_empty());
        let fps = self.value(block, "vfps");
        let vfps = self.float(&fps);
        if !vfps.is_finite() || vfps < 0.0 {
            self.problems.push(fps.problem(self.files, 0, "`vfps` cannot be less than 0"));
        }
        Engine {
            name: name(node),
            perfile: flags(block, "perfile"),
            iformat: format(self.text(block, "iformat")),
            vfilter: flags(block, "vfilter"),
            vcodec: self.text(block, "vcodec"),
            vbitrate: self.whole(block, "vbitrate"),
            vfps,
            vwidth: self.whole(block, "vwidth") & !1,
            vheight: self.whole(block, "vheight") & !1,
            vthreads: self.whole(block, "vthreads"),
            vprofile: self.text(block, "vprofile"),
            vpreset: self.text(block, "vpreset"),
            vparams: flags(block, "vparams"),
            acodec: self.text(block, "acodec"),
            abitrate: self.whole(block, "abitrate"),
            asample_rate: self.whole(block, "asample_rate"),
            achannels: self.whole(block, "achannels"),
            aparams: flags(block, "aparams"),
            oformat: format(self.text(block, "oformat")),
            output: self.text(block, "output"),
        }
    }

    /// What SRS finds out when somebody publishes (its codes 3015 and following).
    fn check_engine(&mut self, node: &Node, engine: &Engine) {
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        let Engine { vcodec, acodec, vprofile, vpreset, abitrate, achannels, vwidth, vheight, .. } = engine;
        if !is_name(vcodec) {
            self.refuse(
                node,
                "`vcodec` is missing, or no name",
                "write an encoder like `libx264`, `copy` or `vn`",
            );
        }
        if !is_name(acodec) {
            self.refuse(
                node,
                "`acodec` is missing, or no name",
                "write an encoder like `aac`, `copy` or `an`",
            );
        }
        if (vcodec.as_str(), acodec.as_str()) == ("vn", "an") {
            self.refuse(
                node,
                "`vcodec vn` and `acodec an` leave nothing",
                "remove the engine, or one of them",
            );
        }
        if vcodec == "libx264" && (vprofile.is_empty() || vpreset.is_empty()) {
            let help = "write `vprofile main;` and `vpreset veryfast;`, for example";
            self.refuse(node, "`libx264` needs `vprofile` and `vpreset`", help);
        }
        if *achannels > 2 {
            self.refuse(
                node,
                "`achannels` may be 0, 1 or 2",
                "other numbers can be had by `aparams { ac 6; }`",
            );
        }
        if acodec == "libaacplus" && *abitrate != 0 && !(16..=72).contains(abitrate) {
            self.refuse(node, "`libaacplus` takes an `abitrate` of 16 to 72", "choose one of these");
        }
        if (*vwidth == 0) != (*vheight == 0) {
            let message = "`vwidth` and `vheight` count only together: the size stays as it is";
            self.warn_at(node, message);
        }
        if engine.output.is_empty() {
            let help = "write `output rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine];`";
            self.refuse(node, "the engine has no `output`", help);
        }
    }

    pub(super) fn exec(&mut self, block: Block<'a>) -> Option<Exec> {
        let exec = Exec {
            publish: self.commands(block, "publish"),
            unpublish: self.commands(block, "unpublish"),
            play: self.commands(block, "play"),
            stop: self.commands(block, "stop"),
        };
        self.switch(block, "enabled").then_some(exec).filter(|exec| *exec != Exec::default())
    }

    fn commands(&mut self, block: Block<'a>, name: &str) -> Vec<Command> {
        let mut commands = Vec::new();
        for node in block.nodes.iter().filter(|node| node.name.text == name) {
            let words = node.args.iter().map(|word| (word.text.as_str(), word.quoted));
            match Command::read(words) {
                Some(command) => commands.push(command),
                None => self.refuse(
                    node,
                    &format!("`{name}` has no program, or a `>` without a file"),
                    "write a program, its arguments, and perhaps `>file` and `2>file`",
                ),
            }
        }
        commands
    }

    /// A whole number; what is less than 0 is refused.
    fn whole(&mut self, block: Block<'a>, name: &str) -> u32 {
        let value = self.value(block, name);
        u32::try_from(self.int(&value)).unwrap_or_else(|_| {
            self.problems.push(value.problem(self.files, 0, format!("`{name}` cannot be less than 0")));
            0
        })
    }

    fn refuse(&mut self, node: &Node, message: &str, help: &str) {
        self.problems.push(Problem::new(message).at(self.files.place(node.name.span)).help(help));
    }

    fn warn_at(&mut self, node: &Node, message: &str) {
        let problem = Problem::new(message).at(self.files.place(node.name.span));
        self.warn(problem);
    }
}

/// Each block of this name.
fn blocks<'a>(block: Block<'a>, name: &'static str) -> impl Iterator<Item = (&'a Node, Block<'a>)> {
    let path = super::row(block.path, name).path;
    let nodes = block.nodes.iter().filter(move |node| node.name.text == name);
    nodes.map(move |node| (node, Block { path, nodes: node.block() }))
}

/// What stands behind the name of a block.
fn name(node: &Node) -> String {
    node.value().map(|word| word.text.clone()).unwrap_or_default()
}

/// Free options: of each, its name with a `-`, and its first word.
fn flags(block: Block<'_>, name: &'static str) -> Vec<Flag> {
    let Some(node) = block.nodes.iter().find(|node| node.name.text == name) else { return Vec::new() };
    let flag = |node: &Node| {
        let name = &node.name.text;
        let name = if name.starts_with('-') { name.clone() } else { format!("-{name}") };
        (name, node.value().map(|word| word.text.clone()))
    };
    node.block().iter().map(flag).collect()
}
