//! `podspawn verify-image`

use crate::harness::engines::fact;

on_engines! {
    [docker, docker26, podman, gvisor]
    fn an_image_is_checked_and_nothing_is_left(env: Env) {
        let run = env.podspawn(["verify-image", fact("IMAGE_DEBIAN")]).run().status(1);
        assert_eq!(
            run.out(),
            "  OK    bash\n  FAIL  sftp-server\n        fix: apt-get install -y openssh-sftp-server\n  OK    locale\n  \
             OK    git\n\n3 passed, 1 failed\n"
        );
        assert_eq!(run.stderr, "", "nothing of the checks themselves");
        assert_eq!(env.objects(), Vec::<String>::new());

        let run = env.podspawn(["verify-image", fact("IMAGE_SUDO")]).run().ok();
        assert!(run.out().ends_with("\n4 passed, 0 failed\n"), "{}", run.out());
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

on_engines! {
    [docker, podman]
    fn an_image_with_nothing_fails_every_check(env: Env) {
        let run = env.podspawn(["verify-image", fact("IMAGE_BUSYBOX")]).run().status(1);
        assert!(run.out().ends_with("\n0 passed, 4 failed\n"), "{}", run.out());
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}
