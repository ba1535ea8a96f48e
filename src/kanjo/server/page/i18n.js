// Texts of the page in four languages. Labels of emotions without a translation keep their English names.

export const TEXTS = {
  en: {
    language: "Language",
    analyzeRecording: "Analyze a recording",
    record: "Record",
    stop: "Stop",
    chooseFiles: "Choose files",
    hint: "You can also drop files here: WAV, FLAC, MP3, Ogg, m4a, webm. "
      + "The audio is sent to this service only and is not stored.",
    tokenRequired: "This service requires a token:",
    useToken: "Use token",
    live: "Recording",
    speechProbability: "Speech probability",
    results: "Results",
    skipToResults: "Skip to the results",
    correctedManifest: "Corrected manifest",
    disclaimer: "A model estimates the expressed emotion from the voice. It was trained on acted speech. "
      + "The result does not show what a person feels. Do not use it to judge people.",
    start: "Start",
    end: "End",
    emotion: "Emotion",
    confidence: "Confidence",
    correctedLabel: "Corrected label",
    play: "Play",
    waveform: "Waveform. The arrow keys move the position, the space key starts and stops playback.",
    processing: "Processing {0} …",
    done: "{0}: {1}, {2}",
    failed: "{0}: {1}",
    microphoneError: "The microphone is not available: {0}",
    unreachable: "The service cannot be reached.",
    busy: "The service is busy. Trying again …",
    recordingName: "recording",
    model: "Model: {0} {1}. Languages: {2}. License of the weights: {3}.",
    downloadRecording: "Download the recording",
    wholeRecording: "Whole recording",
    noWaveform: "This browser cannot decode the file, so no waveform is shown.",
    labels: {},
  },
  de: {
    language: "Sprache",
    analyzeRecording: "Aufnahme analysieren",
    record: "Aufnehmen",
    stop: "Stopp",
    chooseFiles: "Dateien auswählen",
    hint: "Sie können Dateien auch hierher ziehen: WAV, FLAC, MP3, Ogg, m4a, webm. "
      + "Die Audiodaten werden nur an diesen Dienst gesendet und nicht gespeichert.",
    tokenRequired: "Dieser Dienst erfordert ein Token:",
    useToken: "Token verwenden",
    live: "Aufnahme läuft",
    speechProbability: "Sprachwahrscheinlichkeit",
    results: "Ergebnisse",
    skipToResults: "Zu den Ergebnissen springen",
    correctedManifest: "Korrigiertes Manifest",
    disclaimer: "Ein Modell schätzt die ausgedrückte Emotion anhand der Stimme. Es wurde mit gespielter Sprache "
      + "trainiert. Das Ergebnis zeigt nicht, was ein Mensch fühlt. Beurteilen Sie damit keine Menschen.",
    start: "Beginn",
    end: "Ende",
    emotion: "Emotion",
    confidence: "Konfidenz",
    correctedLabel: "Korrigiertes Label",
    play: "Abspielen",
    waveform: "Wellenform. Die Pfeiltasten ändern die Position, die Leertaste startet und stoppt die Wiedergabe.",
    processing: "{0} wird verarbeitet …",
    done: "{0}: {1}, {2}",
    failed: "{0}: {1}",
    microphoneError: "Das Mikrofon ist nicht verfügbar: {0}",
    unreachable: "Der Dienst ist nicht erreichbar.",
    busy: "Der Dienst ist ausgelastet. Neuer Versuch …",
    recordingName: "Aufnahme",
    model: "Modell: {0} {1}. Sprachen: {2}. Lizenz der Gewichte: {3}.",
    downloadRecording: "Aufnahme herunterladen",
    wholeRecording: "Gesamte Aufnahme",
    noWaveform: "Dieser Browser kann die Datei nicht dekodieren. Daher wird keine Wellenform angezeigt.",
    labels: {
      anger: "Ärger", anxiety: "Besorgnis", boredom: "Langeweile", calm: "Ruhe", contempt: "Verachtung",
      disgust: "Ekel", excitement: "Aufregung", fear: "Angst", frustration: "Frustration", happiness: "Freude",
      neutral: "neutral", other: "andere", sadness: "Trauer", sarcasm: "Sarkasmus", surprise: "Überraschung",
      subdued: "gedämpft", intense: "intensiv", silence: "Stille", unsure: "unsicher",
    },
  },
  ja: {
    language: "言語",
    analyzeRecording: "音声を分析する",
    record: "録音する",
    stop: "停止",
    chooseFiles: "ファイルを選択",
    hint: "ファイルをここにドロップすることもできます（WAV、FLAC、MP3、Ogg、m4a、webm）。"
      + "音声はこのサービスにのみ送信され、保存されません。",
    tokenRequired: "このサービスにはトークンが必要です:",
    useToken: "トークンを使用",
    live: "録音中",
    speechProbability: "発話の確率",
    results: "結果",
    skipToResults: "結果へ移動",
    correctedManifest: "修正済みマニフェスト",
    disclaimer: "モデルが声から感情表現を推定します。モデルは演技音声で学習されています。"
      + "結果は話者が実際に感じていることを示すものではありません。人の評価には使用しないでください。",
    start: "開始",
    end: "終了",
    emotion: "感情",
    confidence: "信頼度",
    correctedLabel: "修正ラベル",
    play: "再生",
    waveform: "波形。矢印キーで位置を移動し、スペースキーで再生と停止を切り替えます。",
    processing: "{0} を処理しています…",
    done: "{0}: {1}、{2}",
    failed: "{0}: {1}",
    microphoneError: "マイクを使用できません: {0}",
    unreachable: "サービスに接続できません。",
    busy: "サービスが混雑しています。再試行しています…",
    recordingName: "録音",
    model: "モデル: {0} {1}。言語: {2}。重みのライセンス: {3}。",
    downloadRecording: "録音をダウンロード",
    wholeRecording: "録音全体",
    noWaveform: "このブラウザーではファイルをデコードできないため、波形は表示されません。",
    labels: {
      anger: "怒り", anxiety: "不安", boredom: "退屈", calm: "落ち着き", contempt: "軽蔑",
      disgust: "嫌悪", excitement: "興奮", fear: "恐れ", frustration: "苛立ち", happiness: "喜び",
      neutral: "平静", other: "その他", sadness: "悲しみ", sarcasm: "皮肉", surprise: "驚き",
      subdued: "弱い", intense: "強い", silence: "無音", unsure: "不明",
    },
  },
  ko: {
    language: "언어",
    analyzeRecording: "음성 분석",
    record: "녹음",
    stop: "정지",
    chooseFiles: "파일 선택",
    hint: "파일을 여기에 끌어다 놓을 수도 있습니다(WAV, FLAC, MP3, Ogg, m4a, webm). "
      + "음성은 이 서비스에만 전송되며 저장되지 않습니다.",
    tokenRequired: "이 서비스에는 토큰이 필요합니다:",
    useToken: "토큰 사용",
    live: "녹음 중",
    speechProbability: "발화 확률",
    results: "결과",
    skipToResults: "결과로 이동",
    correctedManifest: "수정된 매니페스트",
    disclaimer: "모델이 목소리에서 표현된 감정을 추정합니다. 모델은 연기 음성으로 학습되었습니다. "
      + "결과는 사람이 실제로 느끼는 감정을 나타내지 않습니다. 사람을 평가하는 데 사용하지 마십시오.",
    start: "시작",
    end: "끝",
    emotion: "감정",
    confidence: "신뢰도",
    correctedLabel: "수정된 레이블",
    play: "재생",
    waveform: "파형. 화살표 키로 위치를 옮기고 스페이스 키로 재생하거나 정지합니다.",
    processing: "{0} 처리 중…",
    done: "{0}: {1}, {2}",
    failed: "{0}: {1}",
    microphoneError: "마이크를 사용할 수 없습니다: {0}",
    unreachable: "서비스에 연결할 수 없습니다.",
    busy: "서비스가 혼잡합니다. 다시 시도하는 중…",
    recordingName: "녹음",
    model: "모델: {0} {1}. 언어: {2}. 가중치 라이선스: {3}.",
    downloadRecording: "녹음 다운로드",
    wholeRecording: "전체 녹음",
    noWaveform: "이 브라우저에서는 파일을 디코딩할 수 없어 파형이 표시되지 않습니다.",
    labels: {
      anger: "분노", anxiety: "불안", boredom: "지루함", calm: "차분함", contempt: "경멸",
      disgust: "혐오", excitement: "흥분", fear: "두려움", frustration: "좌절", happiness: "기쁨",
      neutral: "중립", other: "기타", sadness: "슬픔", sarcasm: "비꼼", surprise: "놀람",
      subdued: "약함", intense: "강함", silence: "무음", unsure: "불확실",
    },
  },
};

const preferred = (localStorage.getItem("language") || navigator.language).slice(0, 2);
let current = TEXTS[preferred] ? preferred : "en";

export const currentLanguage = () => current;

/** The text of a key; `{0}`, `{1}`, ... are replaced by the values. */
export function translate(key, ...values) {
  return values.reduce((text, value, index) => text.replaceAll(`{${index}}`, value), TEXTS[current][key] ?? key);
}

export const translateLabel = (label) => TEXTS[current].labels[label] ?? label;

/** Change the language and store it. */
export function setLanguage(language) {
  if (TEXTS[language]) {
    current = language;
    localStorage.setItem("language", language);
  }
  translatePage();
}

/** Set the text of all elements that have a `data-text` attribute. */
export function translatePage() {
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = translate(element.dataset.text);
  }
}
