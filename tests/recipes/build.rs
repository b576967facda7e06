//! `build`: each instruction, and what becomes of the layers.

use std::fs;

use crate::common::{stderr, stdout};
use crate::{Store, can_run_here};

const EVERYTHING: &str = r#"# syntax is as Docker has it
ARG BASE=base
FROM ${BASE} AS first
ARG WHO WHOM="the world"
RUN echo "$WHO greets $WHOM" >/greeting
FROM base
LABEL one=1 "two words"="second \
    value"
ENV A=a B="b $A" \
    # a comment between
    C=c\ d
ENV OLD the old form
WORKDIR /srv
WORKDIR app
COPY --from=first /greeting first/
COPY --chown=5:6 *.txt dir $A/
copy ["with space", "named"]
ADD inner.tar /unpacked
ADD inner.tar.gz /unpacked/gz/
RUN echo "$A:$B:$C:$OLD" >env && [ "$(pwd)" = /srv/app ]
RUN ["/bin/sh", "-c", "echo \"$0\" >form", "exec form"]
EXPOSE 80 53/udp
USER ann
ENTRYPOINT ["/bin/busybox", "cat"]
CMD ["env", "form"]
"#;

fn context(store: &Store) {
    for (name, text) in [
        ("one.txt", "1"),
        ("two.txt", "2"),
        ("dir/sub/file", "deep"),
        ("with space", "space"),
        ("secret.log", "x"),
    ] {
        store.scene.file(&format!("all/{name}"), text);
    }
    store.scene.file("all/.dockerignore", "# nothing of these\n*.log\n**/sub/*.tmp\n/dir/left-out\n");
    store.scene.file("all/dir/left-out", "x");
    store.scene.file("all/dir/sub/x.tmp", "x");
    store
        .scene
        .sh("cd all; ln -s /nonesuch dir/link; tar -cf inner.tar one.txt; tar -czf inner.tar.gz two.txt")
        .assert()
        .success();
    store.dockerfile("all", EVERYTHING);
}

#[test]
fn every_instruction_does_what_it_says() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    context(&store);
    store.sh("build -t all:1.0 --build-arg WHO=ann all").assert().success();
    store.sh("run --rm all:1.0").assert().success().stdout("a:b :c d:the old form\nexec form\n");
    let look = "cd /srv/app; ls . a a/sub /unpacked /unpacked/gz; cat first/greeting named; stat -c '%u:%g %n' a/one.txt a/sub/file named; readlink a/link";
    let assert = store.sh(&format!("run --rm --entrypoint sh -u 0 all:1.0 -c \"{look}\"")).assert().success();
    let expected = ".:\na\nenv\nfirst\nform\nnamed\n\n/unpacked:\ngz\none.txt\n\n/unpacked/gz:\ntwo.txt\n\na:\nlink\none.txt\nsub\ntwo.txt\n\na/sub:\nfile\nann greets the world\nspace5:6 a/one.txt\n5:6 a/sub/file\n0:0 named\n/nonesuch\n";
    assert_eq!(stdout(&assert), expected);
    let config = "skopeo inspect --config oci:store/images:all:1.0 | jq -c '.config, (.history | length), (.rootfs.diff_ids | length)'";
    let assert = store.sh(config).assert().success();
    let expected = r#"{"User":"ann","ExposedPorts":{"53/udp":{},"80/tcp":{}},"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","A=a","B=b ","C=c d","OLD=the old form"],"Entrypoint":["/bin/busybox","cat"],"Cmd":["env","form"],"WorkingDir":"/srv/app","Labels":{"one":"1","two words":"second     value"}}"#;
    assert_eq!(stdout(&assert), format!("{expected}\n17\n8\n"));
    store.assert_nothing_left();
}

#[test]
fn equal_steps_are_equal_images_and_share_their_layers() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.dockerfile("it", "FROM base\nRUN echo x >/x; rm /etc/group\nCOPY Dockerfile /\n");
    let build = "SOURCE_DATE_EPOCH=1700000000 build -t it:$N it";
    let first = stdout(&store.sh(build).env("N", "1").assert().success());
    let layers = || fs::read_dir(store.path("layers")).unwrap().count();
    let made = layers();
    assert_eq!(made, 3);
    let second = stdout(&store.sh(build).env("N", "2").assert().success());
    assert_eq!(first, second);
    assert_eq!(layers(), made);
    // commit too
    let commit = "run --name c base sh -c 'echo y >/y' && SOURCE_DATE_EPOCH=1700000000 commit c a && SOURCE_DATE_EPOCH=1700000000 commit c b";
    let ids = stdout(&store.sh(commit).assert().success());
    let ids: Vec<_> = ids.lines().collect();
    assert!(ids.len() == 2 && ids[0] == ids[1] && ids[0].starts_with("sha256:"), "{ids:?}");
}

#[test]
fn a_layer_that_stands_twice_in_an_image_is_shown_once() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.scene.file("it/file", "1");
    store.dockerfile("it", "FROM base\nCOPY file /f\nRUN rm /f\nCOPY file /f\n");
    store
        .sh("touch -d @7 it/file; SOURCE_DATE_EPOCH=7 build -t it it && run --rm it cat /f")
        .assert()
        .success();
    store.sh("skopeo inspect --config oci:store/images:it:latest | jq '.rootfs.diff_ids | length == 4 and (unique | length) == 3'").assert().stdout("true\n");
}

#[test]
fn what_is_wrong_is_named_with_its_line_before_anything_is_made() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    for (dockerfile, line, why) in [
        ("FROM base\n\nVOLUME /x\n", 3, "VOLUME: not an instruction that is known here"),
        ("FROM base\nRUN touch /x\nBOGUS\n", 3, "BOGUS: not an instruction that is known here"),
        ("FROM base\nRUN cat <<EOF\nx\nEOF\n", 2, "RUN: here-documents are not known here"),
        ("FROM base\nCMD\n", 2, "CMD: takes an argument"),
    ] {
        store.dockerfile("it", dockerfile);
        let assert = store.sh("build -t it it").assert().code(125).stdout("");
        assert_eq!(stderr(&assert), format!("build: it/Dockerfile:{line}: {why}\n"));
    }
    for (dockerfile, line, why) in [
        ("RUN true\n", 1, "FROM has to come first"),
        ("FROM nonesuch\n", 1, "nonesuch:latest: no such image"),
        ("FROM base\nENV A=\"b\n", 2, "a quotation mark without its other half"),
        ("FROM base\nENV A=${B%c}\n", 2, "not a substitution that is known here"),
        ("FROM base\nADD http://127.0.0.1/x /x\n", 2, "ADD of what is not in the context"),
        ("FROM base\nCOPY nonesuch /x\n", 2, "nonesuch: no such file or directory"),
        ("FROM base\nCOPY Dockerfile Dockerfile /x\n", 2, "has to end with a slash"),
        ("FROM base\nCOPY --link Dockerfile /x\n", 2, "--link: not an option"),
        ("FROM base AS /x\n", 1, "/x: not the name of a stage"),
    ] {
        store.dockerfile("it", dockerfile);
        let assert = store.sh("build -t it it").assert().code(125).stdout("");
        assert!(stderr(&assert).contains(why), "{dockerfile}: {}", stderr(&assert));
        assert!(
            stderr(&assert).contains(&format!("build: it/Dockerfile:{line}: ")),
            "{dockerfile}: {}",
            stderr(&assert)
        );
    }
    store.sh("images | cut -f 1").assert().success().stdout("base:latest\n");
    store.assert_nothing_left();
}

#[test]
fn a_step_that_fails_ends_the_build_with_its_status() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.dockerfile("it", "FROM base\nRUN echo to be seen; exit 42\nRUN touch /never\n");
    let assert = store.sh("build -t it it").assert().code(42).stdout("");
    assert!(stderr(&assert).contains("to be seen\n"), "{}", stderr(&assert));
    assert!(
        stderr(&assert).ends_with("build: it/Dockerfile:2: RUN echo to be seen; exit 42: failed\n"),
        "{}",
        stderr(&assert)
    );
    store.assert_nothing_left();
}

#[test]
fn a_build_sees_nothing_of_the_caller() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.dockerfile("it", "FROM base\nRUN env >/env; grep -c : /proc/net/dev >/net; ls / >/top\n");
    store.sh("build -t it it").assert().success();
    let assert = store.sh("run --rm it cat /env /top").assert().success();
    assert!(!stdout(&assert).contains("SECRET"), "{}", stdout(&assert));
    // The directories that are mounted on are of the init layer, not of the image.
    store.sh("ls -A store/layers/*/ | grep -cx -e proc -e sys -e dev -e hosts").assert().stdout("0\n");
}

#[test]
fn a_directory_made_for_a_copy_is_its_owners_and_path_has_a_default() {
    if !can_run_here() {
        return;
    }
    let store = Store::new();
    store.scene.file("it/file", "x");
    let text = "FROM base\nENV PATH=/opt/bin:$PATH\nCOPY --chown=5:6 file /app/sub/\nCOPY --chown=5:6 . /etc\nUSER 5:6\nRUN touch /app/mine\n";
    store.dockerfile("it", text);
    store.sh("build -t it it").assert().success();
    let look = "stat -c %u:%g /app /app/sub /app/sub/file /app/mine /etc; echo $PATH";
    let expected =
        "5:6\n5:6\n5:6\n5:6\n0:0\n/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n";
    store.sh(&format!("run --rm it sh -c '{look}'")).assert().success().stdout(expected);
    store.dockerfile("mount", "FROM base\nRUN --mount=type=cache,target=/x true\n");
    let assert = store.sh("build mount").assert().code(125);
    assert!(
        stderr(&assert).contains("--mount=type=cache,target=/x: not an option that is known here"),
        "{}",
        stderr(&assert)
    );
    store.assert_nothing_left();
}
