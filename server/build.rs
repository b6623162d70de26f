//! Lets Cargo see when the pages have been built anew; `web/dist` is embedded by `src/http/pages`.

use std::fs;

fn main() {
    // What does not exist counts as changed each time. Without the pages, the server can be built all the same.
    let _ = fs::create_dir_all("../web/dist");
    println!("cargo::rerun-if-changed=../web/dist");
}
