//! Files on the HTTP port: the folders of vhosts (`http_static`), and `http_server.dir` for everything else. Which folder a
//! request means, what may be opened in it, and how it is answered belongs here. Bytes, conditions and ranges are tower-http's
//! work; live streams and playlists with sessions are not files. What `http_server.dir` has not, the pages inside the program
//! may have.

mod content;
mod folder;
mod kind;
mod mount;
mod page;
mod path;
mod range;
mod seek;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use rustix::io::Errno;
use tracing::warn;

use crate::config::Config;
use crate::gate::Gate;
use crate::http::{pages, request};

use content::Content;
use folder::Found;
use mount::Mounts;
use page::Page;
use path::Names;

/// The files that are served, and where.
#[derive(Clone)]
pub struct Files(Arc<Shared>);

struct Shared {
    mounts: Mounts,
    page: Page,
}

/// Why a request gets no file.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("files are read with GET or HEAD")]
    Method,
    #[error("there is no stream and no file here")]
    Absent,
    #[error("the pages are not in this program (`make build` puts them there, with Node.js)")]
    Unbuilt,
    /// It is asked for as if it were a file.
    #[error("the address of this folder is {0}")]
    Folder(String),
    #[error("start= is beyond the end of the file, which has {0} bytes")]
    Beyond(u64),
    #[error("start= is for FLV, and this is none in spite of its name")]
    NotFlv,
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
}

impl Files {
    /// The folders as configured.
    pub fn new(config: &Config, gate: Arc<Gate>) -> Self {
        let root = config.http_server.as_ref().map(|server| server.dir.as_path());
        let mounts = Mounts::new(&config.vhosts, root);
        Self(Arc::new(Shared { mounts, page: Page::new(config, gate) }))
    }

    /// Answers every path by a file, or says that there is none.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    /// Answers `/console/` by the folder of this name in `http_server.dir`, or by that in the program, for the port of the API; nothing without `http_server`.
    pub fn console_router(&self) -> Router {
        if self.0.mounts.root().is_none() {
            return Router::new();
        }
        let entrance = any(|uri: Uri| async move { redirect("/console/", uri.query()) });
        let routes = Router::new().route("/console", entrance);
        let routes =
            routes.route("/console/", any(serve_console)).route("/console/{*rest}", any(serve_console));
        routes.with_state(self.clone())
    }
}

async fn serve(State(files): State<Files>, request: Request<Body>) -> Response {
    let request = request.map(drop);
    files.serve(&request).await.unwrap_or_else(|refused| refused.answer(request.uri()))
}

async fn serve_console(State(files): State<Files>, request: Request<Body>) -> Response {
    let request = request.map(drop);
    files.serve_console(&request).await.unwrap_or_else(|refused| refused.answer(request.uri()))
}

impl Files {
    async fn serve(&self, request: &Request<()>) -> Result<Response, Refused> {
        let names = Names::read(request.uri().path()).ok_or(Refused::Absent)?;
        let asked = request::vhost(request);
        let (mount, below) = self.0.mounts.find(&asked, &names).ok_or(Refused::Absent)?;
        match find(&mount.dir, below, &names, request).await {
            Err(Refused::Absent) if mount.is_root && names.is_empty() => {
                Ok(self.0.page.show(&asked, request::host(request)))
            }
            Err(Refused::Absent) if mount.is_root => Self::serve_page(&names, request),
            found => Ok(found?.answer(request).await),
        }
    }

    async fn serve_console(&self, request: &Request<()>) -> Result<Response, Refused> {
        let names = Names::read(request.uri().path()).ok_or(Refused::Absent)?;
        let root = self.0.mounts.root().ok_or(Refused::Absent)?;
        match find(&root.dir, &names, &names, request).await {
            Err(Refused::Absent) => Self::serve_page(&names, request),
            found => Ok(found?.answer(request).await),
        }
    }

    /// What the program has itself, where the operator has put nothing.
    fn serve_page(names: &Names, request: &Request<()>) -> Result<Response, Refused> {
        let path: Option<Vec<_>> = names.iter().map(|name| name.to_str()).collect();
        let path = path.ok_or(Refused::Absent)?.join("/");
        match pages::find(&if names.is_folder { path + "/" } else { path }) {
            pages::Found::Page(page) => Ok(page.answer(request)),
            pages::Found::Folder => Err(Refused::Folder(names.folder_url())),
            pages::Found::Unbuilt => Err(Refused::Unbuilt),
            pages::Found::Neither => Err(Refused::Absent),
        }
    }
}

/// What is to be sent of the file at `below` in the folder `dir`; `names` is the whole path of the request.
async fn find(
    dir: &Path,
    below: &[OsString],
    names: &Names,
    request: &Request<()>,
) -> Result<Content, Refused> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Refused::Method);
    }
    let index = names.is_folder.then(|| OsString::from("index.html"));
    let below: Vec<_> = below.iter().cloned().chain(index).collect();
    let extension = below.last().map(|name| kind::extension(name)).unwrap_or_default();
    let start = seek::start(request.uri(), &extension);
    let (dir, is_folder, url) = (dir.to_owned(), names.is_folder, names.folder_url());
    let work = move || {
        let whole = match folder::find(&dir, &below, &folder::owners())? {
            Found::File(file) => Content::whole(file, extension)?,
            Found::Folder if !is_folder => return Err(Refused::Folder(url)),
            Found::Folder | Found::Neither => return Err(Refused::Absent),
        };
        match start {
            Some(start) => seek::content(whole, start),
            None => Ok(whole),
        }
    };
    // Disks may be slow, and those of a network even more.
    let found = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    found.map_err(|refused| match refused {
        Refused::Io(e) if is_absence(&e) => Refused::Absent,
        Refused::Io(e) => {
            // The operator learns why; visitors need not.
            warn!("{} is not served: {e}", request.uri().path());
            if e.kind() == io::ErrorKind::PermissionDenied { Refused::Absent } else { Refused::Io(e) }
        }
        refused => refused,
    })
}

/// There cannot be a file of this name.
fn is_absence(e: &io::Error) -> bool {
    let absences = [Errno::NOENT, Errno::NOTDIR, Errno::INVAL, Errno::NAMETOOLONG, Errno::LOOP];
    Errno::from_io_error(e).is_some_and(|e| absences.contains(&e))
}

impl Refused {
    fn answer(&self, uri: &Uri) -> Response {
        let text = format!("{self}: {}\n", uri.path());
        match self {
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], text).into_response()
            }
            Self::Absent | Self::Unbuilt => (StatusCode::NOT_FOUND, text).into_response(),
            Self::Folder(url) => redirect(url, uri.query()),
            Self::Beyond(size) => {
                let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
                (StatusCode::RANGE_NOT_SATISFIABLE, range, text).into_response()
            }
            Self::NotFlv => (StatusCode::BAD_REQUEST, text).into_response(),
            Self::Io(_) => (StatusCode::INTERNAL_SERVER_ERROR, text).into_response(),
        }
    }
}

/// Sends the client to `path`, with the query that it brought.
fn redirect(path: &str, query: Option<&str>) -> Response {
    let location = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let text = format!("go to {location}\n");
    let location = HeaderValue::try_from(location).ok().map(|location| (header::LOCATION, location));
    (StatusCode::FOUND, HeaderMap::from_iter(location), text).into_response()
}
