use super::*;

fn namespace(context: &str, name: &str) -> String {
    let args = [("BUILDKIT_CACHE_MOUNT_NS".to_owned(), "other".to_owned())].into();
    let build = BuildBase { dockerfile: "Dockerfile".into(), context: context.into(), args, target: None };
    arguments(&build, &name.parse().unwrap()).remove("BUILDKIT_CACHE_MOUNT_NS").unwrap()
}

#[test]
fn the_caches_of_a_project_stay_its_own() {
    let one = namespace("/home/a/app", "podspawn/app:base-1");
    // Whatever its Dockerfile becomes.
    assert_eq!(one, namespace("/home/a/app", "podspawn/app:base-2"));
    assert_ne!(one, namespace("/home/b/app", "podspawn/app:base-1"));
    assert_ne!(one, namespace("/home/a/app", "podspawn/other:base-1"));
    // Wherever a throwaway machine, or an update, has its clone.
    let throwaway = |end: &str| namespace(&format!("/home/a/.tmp-{end}/docker"), "podspawn/app:base-1");
    assert_eq!(throwaway("x-1"), throwaway("x-2"));
    assert_eq!(namespace("/srv/.new-app", "podspawn/app:1"), namespace("/srv/app", "podspawn/app:1"));
    assert!(one.len() == 64 && one.chars().all(|c| c.is_ascii_hexdigit()), "{one}");
}
