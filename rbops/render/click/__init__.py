"""The Click data plane's files: a server's configuration, the routes that all share, the unit that runs it."""

from rbops.render.click.files import ClickFiles, click_files, element_files, keyless, library_file

__all__ = ["ClickFiles", "click_files", "element_files", "keyless", "library_file"]
