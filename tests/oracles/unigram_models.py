"""Unigram models made with `sentencepiece`, and the tokenizers of `tokenizers` made of them."""
import io

import sentencepiece
from tokenizers import (Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors)


def train(corpus, **options):
    """Returns a SentencePieceProcessor."""
    written = io.BytesIO()
    lines = [one.replace("\n", " ") for one in corpus if 0 < len(one) < 4000 and "\0" not in one]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=written, model_type="unigram",
        hard_vocab_limit=False, minloglevel=2, num_threads=1,
        **{"vocab_size": 1500, "normalization_rule_name": "nmt_nfkc",
           "character_coverage": 0.98, **options})
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


def fields(message):
    """Yields (number, value) of a protocol buffer's message."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        else:
            size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
            value = message[at:at + size]
            at += size
        yield key >> 3, value


def charsmap_of(model):
    """The field precompiled_charsmap of the model's normalizer_spec."""
    spec = dict(fields(model.serialized_model_proto()))[3]
    return dict(fields(spec)).get(2, b"")


def json_tokenizer(model, style):
    """A tokenizer as transformers makes it of a SentencePiece model."""
    vocabulary = [(model.id_to_piece(i), model.get_score(i)) for i in range(len(model))]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=model.unk_id(),
                                         byte_fallback=style == "byte fallback"))
    charsmap = normalizers.Precompiled(charsmap_of(model))
    spaces = pre_tokenizers.Metaspace(prepend_scheme="always", split=style != "one word")
    tokenizer.normalizer, tokenizer.pre_tokenizer = charsmap, spaces
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    if style == "xlm-r":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
    if style == "xlm-r of late":
        tokenizer.normalizer = normalizers.Sequence(
            [charsmap, normalizers.Replace(Regex(" {2,}"), " ")])
    if style == "byte fallback":
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
             decoders.Strip(" ", 1, 0)])
    if style == "bare":
        tokenizer.normalizer = tokenizer.pre_tokenizer = None
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", model.bos_id()), ("</s>", model.eos_id())])
    return tokenizer
