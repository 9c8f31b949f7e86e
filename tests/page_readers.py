"""How a reader that nobody here wrote sees markdown and HTML."""

from html.parser import HTMLParser

from markdown_it import MarkdownIt

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


class Skeleton(HTMLParser):
    """Tags of a page with their attributes' names, and all of its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.links = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value for name, value in attrs if name in {"src", "href", "xlink:href", "action", "data"}]

    def handle_endtag(self, tag):
        self.tags.append(("/" + tag, ()))

    def handle_data(self, data):
        self.text.append(data)
