// What the page says, in four languages. Emotions fall back to their English names.
const WORDS = {
  en: {
    language: "Language", begin: "Hear a recording", record: "Record", stop: "Stop", choose: "Choose files",
    hint: "Or drop files here: WAV, FLAC, MP3, Ogg, m4a, webm. Nothing leaves this machine's service, and nothing is kept.",
    token: "This service asks for a token:", use: "Use it", live: "Listening", speech: "Speech", results: "Recordings", skip: "To the recordings",
    manifest: "Corrected manifest", care: "A network's guess of how something is said, learnt from acted speech. It is not what a person feels: do not judge anybody by it.",
    from: "from", to: "to", emotion: "emotion", confidence: "confidence", correct: "correct to", play: "Play", waveform: "Waveform; arrow keys move, space plays",
    working: "Hearing {0} ...", done: "{0}: {1}, {2} %", microphone: "The microphone can't be used: {0}", failed: "{0}: {1}", lost: "The service can't be reached.",
    recording: "recording", busy: "The service is busy; trying again.", model: "Model {0} {1}; languages {2}; licence of the weights {3}", download: "Download the recording", whole: "Whole recording", nosignal: "This browser can't draw this format; its answer stands below.",
    labels: {},
  },
  ja: {
    language: "言語", begin: "録音を聞く", record: "録音する", stop: "停止", choose: "ファイルを選ぶ",
    hint: "ここにファイルをドロップすることもできます: WAV、FLAC、MP3、Ogg、m4a、webm。音声はこのサービスの外に出ず、保存もされません。",
    token: "このサービスにはトークンが必要です:", use: "使う", live: "聞いています", speech: "発話", results: "録音", skip: "録音へ",
    manifest: "修正したマニフェスト", care: "演技された音声から学んだ、話し方についての推定です。人が本当に感じていることではありません。人を判断するために使わないでください。",
    from: "開始", to: "終了", emotion: "感情", confidence: "確信度", correct: "修正", play: "再生", waveform: "波形。矢印キーで移動、スペースで再生",
    working: "{0} を聞いています…", done: "{0}: {1}、{2} %", microphone: "マイクを使えません: {0}", failed: "{0}: {1}", lost: "サービスに接続できません。",
    recording: "録音", busy: "サービスが混み合っています。もう一度試します。", model: "モデル {0} {1}、言語 {2}、重みのライセンス {3}", download: "録音をダウンロード", whole: "録音全体", nosignal: "このブラウザーはこの形式を描けません。答えは下にあります。",
    labels: { anger: "怒り", anxiety: "不安", boredom: "退屈", calm: "落ち着き", contempt: "軽蔑", disgust: "嫌悪", excitement: "興奮", fear: "恐れ", frustration: "苛立ち", happiness: "喜び", neutral: "平静", other: "その他", sadness: "悲しみ", sarcasm: "皮肉", surprise: "驚き", subdued: "弱い", intense: "強い", silence: "無音", unsure: "不明" },
  },
  ko: {
    language: "언어", begin: "녹음 듣기", record: "녹음", stop: "정지", choose: "파일 선택",
    hint: "파일을 여기에 놓아도 됩니다: WAV, FLAC, MP3, Ogg, m4a, webm. 소리는 이 서비스 밖으로 나가지 않고 저장되지 않습니다.",
    token: "이 서비스는 토큰이 필요합니다:", use: "사용", live: "듣는 중", speech: "발화", results: "녹음", skip: "녹음으로",
    manifest: "수정된 매니페스트", care: "연기된 음성에서 배운, 말하는 방식에 대한 추정입니다. 사람이 실제로 느끼는 것이 아닙니다. 사람을 판단하는 데 쓰지 마십시오.",
    from: "시작", to: "끝", emotion: "감정", confidence: "확신도", correct: "수정", play: "재생", waveform: "파형. 화살표 키로 이동, 스페이스로 재생",
    working: "{0} 듣는 중…", done: "{0}: {1}, {2} %", microphone: "마이크를 쓸 수 없습니다: {0}", failed: "{0}: {1}", lost: "서비스에 연결할 수 없습니다.",
    recording: "녹음", busy: "서비스가 바쁩니다. 다시 시도합니다.", model: "모델 {0} {1}, 언어 {2}, 가중치 라이선스 {3}", download: "녹음 내려받기", whole: "녹음 전체", nosignal: "이 브라우저는 이 형식을 그릴 수 없습니다. 답은 아래에 있습니다.",
    labels: { anger: "분노", anxiety: "불안", boredom: "지루함", calm: "차분함", contempt: "경멸", disgust: "혐오", excitement: "흥분", fear: "두려움", frustration: "좌절", happiness: "기쁨", neutral: "중립", other: "기타", sadness: "슬픔", sarcasm: "비꼼", surprise: "놀람", subdued: "약함", intense: "강함", silence: "무음", unsure: "불확실" },
  },
  de: {
    language: "Sprache", begin: "Eine Aufnahme hören", record: "Aufnehmen", stop: "Anhalten", choose: "Dateien wählen",
    hint: "Oder Dateien hierher ziehen: WAV, FLAC, MP3, Ogg, m4a, webm. Nichts verlässt den Dienst auf diesem Rechner, und nichts wird aufbewahrt.",
    token: "Dieser Dienst verlangt ein Token:", use: "Verwenden", live: "Ich höre zu", speech: "Sprache", results: "Aufnahmen", skip: "Zu den Aufnahmen",
    manifest: "Berichtigtes Manifest", care: "Die Vermutung eines Netzes, wie etwas gesagt ist, gelernt an gespielter Sprache. Sie ist nicht, was ein Mensch fühlt: beurteilen Sie niemanden danach.",
    from: "von", to: "bis", emotion: "Emotion", confidence: "Sicherheit", correct: "berichtigen", play: "Abspielen", waveform: "Wellenform; Pfeiltasten bewegen, Leertaste spielt ab",
    working: "Höre {0} ...", done: "{0}: {1}, {2} %", microphone: "Das Mikrofon ist nicht zu benutzen: {0}", failed: "{0}: {1}", lost: "Der Dienst ist nicht zu erreichen.",
    recording: "Aufnahme", busy: "Der Dienst ist ausgelastet; neuer Versuch.", model: "Modell {0} {1}; Sprachen {2}; Lizenz der Gewichte {3}", download: "Aufnahme herunterladen", whole: "Ganze Aufnahme", nosignal: "Dieser Browser kann dieses Format nicht zeichnen; die Antwort steht darunter.",
    labels: { anger: "Ärger", anxiety: "Besorgnis", boredom: "Langeweile", calm: "Ruhe", contempt: "Verachtung", disgust: "Ekel", excitement: "Aufregung", fear: "Angst", frustration: "Frust", happiness: "Freude", neutral: "neutral", other: "anderes", sadness: "Trauer", sarcasm: "Sarkasmus", surprise: "Überraschung", subdued: "matt", intense: "heftig", silence: "Stille", unsure: "unsicher" },
  },
};

let chosen = WORDS[(localStorage.getItem("language") || navigator.language).slice(0, 2)]
  ? (localStorage.getItem("language") || navigator.language).slice(0, 2) : "en";

export const language = () => chosen;
export const word = (key, ...values) => values.reduce((text, value, n) => text.replaceAll(`{${n}}`, value), WORDS[chosen][key] ?? key);
export const label = (name) => WORDS[chosen].labels[name] ?? name;

/** Choose a language, and say everything that stands in the page in it. */
export function speak(name) {
  if (WORDS[name]) {
    chosen = name;
    localStorage.setItem("language", name);
  }
  document.documentElement.lang = chosen;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
}
