"""What check_documents.py finds, and what it lets pass."""

import pathlib
import tempfile
import unittest

from check_documents import complaints_about


class CheckDocuments(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)

    def complaints(self, **pages):
        """About pages with these texts, named with `__` for a slash."""
        for name, text in pages.items():
            self.write(name.replace("__", "/") + ".md", text)
        return list(complaints_about(self.root))

    def write(self, name, text):
        file = self.root / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    def assert_finds(self, complaint, **pages):
        self.assertEqual(self.complaints(**pages), [complaint])

    def assert_passes(self, **pages):
        self.assertEqual(self.complaints(**pages), [])

    def test_a_sample_is_a_part_of_its_file(self):
        self.write("examples/one.cpp", "int main() {\n  work();\n  rest();\n}\n")
        self.assert_passes(README="<!-- examples/one.cpp -->\n```cpp\nwork();\n\nrest();\n```\n")
        self.assert_finds(
            "README.md: the sample that begins with 'rest();' is not a part of examples/one.cpp",
            README="<!-- examples/one.cpp -->\n```cpp\nrest();\nwork();\n```\n")

    def test_a_line_of_cmake_may_name_another_program(self):
        self.write("examples/CMakeLists.txt", "target_link_libraries(test PRIVATE lib)\n")
        self.assert_passes(
            README="<!-- examples/CMakeLists.txt -->\n"
            "```cmake\ntarget_link_libraries(my_service PRIVATE lib)\n```\n")

    def test_a_sample_names_a_file(self):
        self.assert_finds("README.md: the sample that begins with 'work();' names no file",
                          README="```cpp\nwork();\n```\n")

    def test_a_sample_of_a_missing_file_is_found_in_docs_as_well(self):
        self.assert_finds(
            "docs/README.md: the sample that begins with 'work();' is of one.cpp, which does not "
            "exist", docs__README="<!-- one.cpp -->\n```cpp\nwork();\n```\n")

    def test_a_link_leads_to_a_file(self):
        self.assert_passes(README="[docs](docs/README.md) and [this folder](docs)\n",
                           docs__README="[back](../README.md)\n")
        self.assert_finds("README.md: the link to docs/two.md leads nowhere",
                          README="[two](docs/two.md)\n")

    def test_a_link_stays_in_the_project(self):
        self.assert_finds("README.md: the link to ../secret.md leads out of the project",
                          README="[secret](../secret.md)\n")

    def test_a_picture_is_a_link(self):
        self.assert_finds("README.md: the link to one.svg leads nowhere", README="![](one.svg)\n")

    def test_a_definition_is_a_link(self):
        self.assert_finds("README.md: the link to two.md leads nowhere",
                          README="[two]\n\n[two]: two.md\n")

    def test_links_to_the_web_and_in_code_are_left_alone(self):
        self.assert_passes(README="[x](https://example.org/a.md) `[a](b)`\n\n```\n[a](b)\n```\n")

    def test_an_anchor_is_a_heading(self):
        page = "# One\n\n## `lock()`, and *more*: what?\n\n## Twice\n\n## Twice\n"
        self.assert_passes(
            README=page + "[1](#lock-and-more-what) [2](#twice-1) [3](docs/README.md#two)\n",
            docs__README="# Two\n")
        self.assert_finds("README.md: the link to #three names no heading",
                          README="# One\n[three](#three)\n```sh\n# three\n```\n")

    def test_a_path_exists(self):
        self.write("src/one.cpp", "")
        self.assert_passes(README="`src/one.cpp` `src/` `one/two.cpp`\n```\n`src/x.cpp`\n```\n")
        self.assert_finds("README.md: there is no src/two.cpp", README="`src/two.cpp`\n")

    def test_the_index_has_every_page(self):
        self.assert_passes(docs__README="[one](one.md)\n", docs__one="# One\n")
        self.assert_finds("docs/README.md: there is no link to two.md", docs__two="# Two\n")

    def test_the_readme_has_200_lines_and_a_page_of_docs_may_have_more(self):
        self.assert_passes(README="line\n" * 200, docs__README="line\n" * 300)
        self.assert_finds("README.md: it has 201 lines; 200 is the limit", README="line\n" * 201)

    def test_a_line_has_100_characters(self):
        self.assert_passes(README="ä " * 50 + "\n" + "https://example.org/" + "x" * 100 + "\n")
        self.assert_finds("README.md: line 1 has 101 characters; 100 is the limit",
                          README="ä " * 50 + "a\n")

    def test_the_changelog_may_have_longer_lines_but_no_broken_links(self):
        self.assert_finds("CHANGELOG.md: the link to two.md leads nowhere",
                          CHANGELOG="word " * 30 + "[two](two.md)\n")

    def test_a_row_of_a_table_may_be_longer_in_docs_only(self):
        row = "| " + "word " * 21 + "|\n"
        self.assert_passes(docs__README=row)
        self.assert_finds("README.md: line 1 has 108 characters; 100 is the limit", README=row)


if __name__ == "__main__":
    unittest.main()
