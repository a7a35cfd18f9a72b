from tests.corpus import corpus_folder

__all__ = ["corpus_folder"]
